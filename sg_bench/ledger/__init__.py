"""What is done: the records of cells, their schema, and the merging of several ledgers."""

from sg_bench.ledger.merge import Merged, merge
from sg_bench.ledger.records import Ledger, mixed, read_record
from sg_bench.ledger.schema import MIGRATIONS, SCHEMA, Record

__all__ = ["MIGRATIONS", "SCHEMA", "Ledger", "Merged", "Record", "merge", "mixed", "read_record"]
