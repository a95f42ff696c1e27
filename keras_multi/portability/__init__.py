"""Does a Keras model do the same on every backend?"""
