"""From the files of COCO and LVIS to COCO+LVIS."""
