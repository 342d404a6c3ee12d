"""`python -m molsig` is `molsig`."""

from molsig.cli import main

if __name__ == "__main__":
    main()
