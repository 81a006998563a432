"""A first scenario for an installed unit, from what one start of it shows: ports, directories, what it can do."""


def write(unit, output):
    raise NotImplementedError
