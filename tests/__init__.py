"""Tests of the whole suite, from outside."""
