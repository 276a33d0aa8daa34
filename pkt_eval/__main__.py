"""``python -m pkt_eval``, and so ``accelerate launch -m pkt_eval``: the command ``pkt-eval``."""

from pkt_eval.cli import main

if __name__ == "__main__":
    main()
