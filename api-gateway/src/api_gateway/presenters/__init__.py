"""Sessions, jobs and errors in the forms in which clients read them."""
