"""`python -m keras_multi` is the command line."""

from keras_multi.cli import main

main()
