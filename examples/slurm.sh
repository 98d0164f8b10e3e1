#!/usr/bin/env bash
# 64 jobs of a SLURM array prepare a set together; a last one joins the parts. A job that is killed is run again and
# repeats at most one part. All nodes have to see the same folders.
#   sbatch --wait examples/slurm.sh /shared/tars /shared/stores/birds && ganforge prepare /shared/tars -o /shared/stores/birds --resolution 64
#SBATCH --job-name=ganforge-prepare
#SBATCH --array=0-63
#SBATCH --cpus-per-task=16
#SBATCH --requeue
set -euo pipefail
ganforge prepare "$1" -o "$2" --resolution 64 --shard "$SLURM_ARRAY_TASK_ID/64"
