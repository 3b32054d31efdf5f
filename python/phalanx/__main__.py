"""``python -m phalanx`` runs a program as ``python -m phalanx.run`` does."""

from .run import main

if __name__ == "__main__":
    main()
