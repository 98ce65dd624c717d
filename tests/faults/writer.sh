# writer.sh - the stages of the writer of checkpoints, seen from outside
#
# Per line a stage, the call that it begins with, the file, and which visit of that call
# belongs to the V-th checkpoint: FACTOR * V + MORE. A claim makes one visit of its own to
# `owner` and to the folder's fsync. Verifying reads six times: twice for the digest, twice
# in each of two searches for HDF5's signature.
stages="build fstatvfs *ck*s 1 0
create openat .ck-*.tmp 1 0
write pwrite .ck-*.tmp 2 -1
verify pread .ck-*.tmp 6 -5
block pwrite .ck-*.tmp 2 0
fsync fsync .ck-*.tmp 1 0
owner openat owner 1 1
rename renameat .ck-*.tmp 1 0
dirsync fsync *ck*s 1 1
retire unlinkat ck-* 1 0"
