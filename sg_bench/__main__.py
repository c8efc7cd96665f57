"""`python -m sg_bench` is `sg-bench`."""

from sg_bench.cli import main

if __name__ == "__main__":
    main()
