"""The blackboard: what a run and the runs it calls have found, kept in rows and not in histories."""
