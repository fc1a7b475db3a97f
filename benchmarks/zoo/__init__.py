"""The zoo: small networks of many kinds, each with its data."""
