"""How a decoder is asked: shared beginnings, answers in slots, likelihoods of continuations, and how answers end."""
