#!/usr/bin/env bash
# From a zip of flower photographs to a generator: look, leave out, prepare, train, measure. About half an hour on two cores.
#   examples/flowers-64.sh flowers.zip [FOLDER] [MINUTES]
set -euo pipefail
zip=$(realpath "$1")
mkdir -p "${2:-flowers-64}"
cd "${2:-flowers-64}"

# 1. Look at what is there. The page to open: audits/flowers/report.html. Exit code 2 means that some files cannot be read.
ganforge audit "$zip" -o audits/flowers || [ $? -eq 2 ]

# 2. One shape; what the audit rejects is left out, duplicates stay on one side of the split.
ganforge prepare "$zip" -o stores/flowers --resolution 64 --audit audits/flowers --stratify
ganforge show stores/flowers # and a contact sheet, stores/flowers/sheet.png

# 3. Train, with mirrored pictures and augmentation, since 3,300 pictures are few. Ctrl-C saves; the same command goes on.
ganforge train dcgan stores/flowers --minutes "${3:-20}" --size small --train.mirror true --model.augment ada

# 4. How good it is, each number beside its floor, and pictures.
ganforge measure runs/dcgan-flowers --report
ganforge sample runs/dcgan-flowers --count 64
echo "Pages: audits/flowers/report.html, runs/dcgan-flowers/report.html; pictures: runs/dcgan-flowers/samples.png"
