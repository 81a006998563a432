SELECT checkpoint_lsn AS before FROM pg_control_checkpoint() \gset
CHECKPOINT;
SELECT checkpoint_lsn > :'before' FROM pg_control_checkpoint();
