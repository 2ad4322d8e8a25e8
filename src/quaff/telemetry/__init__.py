"""What an application's own logging and monitoring can take from Quaff; nothing here is imported unless it is used."""
