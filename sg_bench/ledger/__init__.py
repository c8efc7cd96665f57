"""The ledger: the records of cells, their tables and schema, and the merging of several ledgers."""

from sg_bench.ledger.ledger import Ledger, copy_record, log_skipped, mixed
from sg_bench.ledger.merge import Merged, merge
from sg_bench.ledger.records import DamagedRecordError, NewerRecordError, read_record
from sg_bench.ledger.schema import MIGRATIONS, SCHEMA, Record, initialisation_digest
from sg_bench.ledger.scores import ScoreTables
from sg_bench.ledger.tables import DamagedTableError, table_of

__all__ = [
    "MIGRATIONS",
    "SCHEMA",
    "DamagedRecordError",
    "DamagedTableError",
    "Ledger",
    "Merged",
    "NewerRecordError",
    "Record",
    "ScoreTables",
    "copy_record",
    "initialisation_digest",
    "log_skipped",
    "merge",
    "mixed",
    "read_record",
    "table_of",
]
