"""Quality of predictive uncertainty."""
