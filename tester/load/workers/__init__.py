"""Load in processes of its own, so that one core is not all there is."""
