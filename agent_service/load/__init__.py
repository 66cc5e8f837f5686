"""Load on a cluster of other hosts: worker processes without privileges, ended when nobody asks for them."""
