"""Files of tenants: records, quota, retention; the bytes lie in the object store."""
