"""Names that several tables share; a name contains the unit."""

LAYER, MODULE, OP, KIND = "layer", "module", "op", "kind"

SQNR_DB, OWN_SQNR_DB = "sqnr_db", "own_sqnr_db"
