"""The ledger: the records of cells, their tables and schema, and the merging of several ledgers."""

from sg_bench.ledger.ledger import Ledger, copy_record, mixed
from sg_bench.ledger.merge import Merged, merge
from sg_bench.ledger.records import DamagedRecordError, read_record
from sg_bench.ledger.schema import MIGRATIONS, SCHEMA, Record, initialisation_digest
from sg_bench.ledger.scores import ScoreTables
from sg_bench.ledger.tables import table_of

__all__ = [
    "MIGRATIONS",
    "SCHEMA",
    "DamagedRecordError",
    "Ledger",
    "Merged",
    "Record",
    "ScoreTables",
    "copy_record",
    "initialisation_digest",
    "merge",
    "mixed",
    "read_record",
    "table_of",
]
