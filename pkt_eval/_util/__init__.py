"""Small helpers that know nothing of transfers: files, digests, folders, devices, progress, options."""
