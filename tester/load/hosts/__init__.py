"""Load on hosts of the inventory's group ``load``: workers that agents hold, on clocks that are not the run's."""
