"""What is generated from the catalogue, and the gates that hold the contracts to it.

`python -m agora_contracts write` and `python -m agora_contracts check`; nothing here is loaded by a service.
"""
