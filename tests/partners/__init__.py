"""The registry of partners: as documents, in the database, by command and by API."""
