"""What is done on the machine that `harness` is called on: a change that undoes itself, and a look at a unit."""
