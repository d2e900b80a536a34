"""Record the workflow histories that test_replay.py replays: `./dev histories`.

Do it for a new scenario, or where a change of a workflow is meant to break the runs at hand. For one scenario
alone add `-k NAME`.
"""

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    os.environ["AGORA_RECORD_HISTORIES"] = "1"
    tests = Path(__file__).with_name("test_replay.py")
    sys.exit(pytest.main([f"{tests}::test_a_history_of_today_replays", "-q", *sys.argv[1:]]))
