"""The zoo: one network of every kind that people bring, with data of its own."""
