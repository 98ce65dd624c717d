/* pth.h - PyTorch .pth files: a zip of raw storages and a pickle, read without trust
 *
 * The container must hold stored (uncompressed, unencrypted) entries under one top
 * folder: <top>/data.pkl, <top>/data/<number> for each storage, perhaps <top>/byteorder
 * ("little"). libzip reads the directory (pth_zip.c); entries must lie inside the file
 * and may not overlap. The pickle is run by an interpreter over a closed set of values
 * (pickle.c): it knows the operations and the names that a state dict of tensors needs
 * and refuses everything else by name; nothing is ever called. A state dict is flat:
 * names to dense tensors, whose ranges in the storages may not overlap.
 */
#ifndef ENGINE_WEIGHTS_PTH_H
#define ENGINE_WEIGHTS_PTH_H

#include "engine/weights/file.h"
#include "engine/weights/stored.h"

enum { PTH_PICKLE_MAX = 16 << 20 };

/* Append the tensors of `f`, which is number `file` of a set, to `list`. */
enum status pth_list(const struct file *f, int file, struct stored_list *list,
                     struct err *e);

#endif
