"""Names for containers that were given none: an adjective and a scientist's surname."""

from __future__ import annotations

import random
from collections.abc import Container


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    """
    amber brisk calm candid cheerful clever crisp curious daring deft dutiful eager earnest easy
    fair fearless fleet fond frank gentle glad golden graceful hardy honest humble ideal joyful
    keen kind lively loyal lucid mellow merry mild modest neat nimble noble patient placid
    plucky polite proud quick quiet rapid ready serene sharp silent sincere smart snug sober
    spry steady stoic sturdy subtle sunny swift tender thrifty tidy tireless tranquil trusty
    upbeat valiant vivid warm wise witty zesty
    """
)

SURNAMES = _words(
    """
    abel ada alder ampere bartik bell bernoulli bohr bolyai boole borg brahe brouwer burnell
    cantor carson cauchy cerf chebyshev church cori crick curie dantzig darwin dirac dirichlet
    einstein euclid euler faraday fermat fermi feynman fibonacci fisher floyd fourier franklin
    galileo galois gauss germain godel goodall hamilton hawking heaviside herschel hertz hilbert
    hodgkin hopper hubble huygens hypatia jackson johnson joule kelvin kepler knuth kovalevskaya
    lagrange lamarr laplace leavitt leibniz lovelace mandelbrot maxwell mayer meitner mendel
    mendeleev milner mirzakhani moser nash neumann newton nightingale noether ohm pascal pasteur
    payne perlman planck poincare pythagoras ramanujan riemann ritchie rubin rutherford sagan
    shannon snell stokes tarski tesla thompson torvalds turing villani volta wilkes wilson wing
    wozniak wu yonath
    """
)


def generate(taken: Container[str]) -> str:
    """A name that is not in `taken`; a digit is added once chance finds no free one."""
    for attempt in range(1000):
        name = f"{random.choice(ADJECTIVES)}_{random.choice(SURNAMES)}"
        if attempt >= 5:
            name += str(random.randrange(10 ** (1 + attempt // 100)))
        if name not in taken:
            return name
    raise AssertionError("a thousand names in a row were taken")
