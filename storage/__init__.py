"""The only room that talks to a database: records, one file, one journal, one writer."""
