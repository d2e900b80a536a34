"""Every installed agent does the same alone and on the platform."""
