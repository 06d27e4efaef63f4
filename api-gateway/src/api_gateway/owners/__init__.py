"""What belongs to an owner: counted, deleted, exported, and deleted after its time."""
