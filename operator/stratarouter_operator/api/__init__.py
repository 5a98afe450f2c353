"""The resources as the API server knows them: envelope, status, and the files generated from the contract."""
