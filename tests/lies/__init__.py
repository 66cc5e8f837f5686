"""A store that lies: a proxy before a real member, which is honest until it is armed with a lie."""
