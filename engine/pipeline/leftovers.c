/* leftovers.c - looks through the folders of a job's outputs */
#include "engine/pipeline/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names are cut so that a temporary one still fits; a tag is 64 bits in hex. */
enum { NAME_CUT = 200, TAG = 16 };

/* A run makes a frame in milliseconds, we empty a folder in less. */
enum { TRIES = 1000 };

/* Does `text` begin with `name`, as far as temporary names hold it, and a dot? Returns
 * what follows, or NULL. */
static const char *behind_name(const char *text, const char *name)
{
    size_t n = strnlen(name, NAME_CUT);

    return strncmp(text, name, n) == 0 && text[n] == '.' ? text + n + 1 : NULL;
}

bool leftover_of(const char *name, const char *entry)
{
    const char *rest = behind_name(entry, name);
    size_t pid = rest ? strspn(rest, "0123456789") : 0;

    if (pid && rest[pid] == '-') {
        size_t n = strspn(rest + pid + 1, "0123456789");

        if (n && strcmp(rest + pid + 1 + n, ".part") == 0)
            return true;
    }
    rest = entry[0] == '.' ? behind_name(entry + 1, name) : NULL;
    return rest && strspn(rest, "0123456789abcdef") == TAG &&
           strcmp(rest + TAG, ".tmp") == 0;
}

static bool folder_empty(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *inside = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (fd >= 0 && !inside)
        close(fd);
    if (!inside)
        return false;
    while ((entry = readdir(inside)))
        unlinkat(dirfd(inside), entry->d_name, 0);
    closedir(inside);
    return true;
}

/* A folder with files in it; nothing below. A run that is ended by force in the middle
 * of decoding still writes frames into it, so it may have to be emptied more than once;
 * when it is gone there are no more. */
static void folder_remove(int dir, const char *name)
{
    for (int i = 0; i < TRIES && folder_empty(dir, name); i++) {
        if (unlinkat(dir, name, AT_REMOVEDIR) == 0 ||
            (errno != ENOTEMPTY && errno != EEXIST))
            return;
    }
}

static void output_clean(const char *path)
{
    char *copy = strdup(path), *slash, *name;
    size_t n = strlen(path);
    const struct dirent *entry;
    DIR *dir;

    if (!copy)
        return;
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    slash = strrchr(copy, '/');
    name = slash ? slash + 1 : copy;
    if (slash)
        *slash = '\0';
    dir = opendir(!slash ? "." : *copy ? copy : "/");
    while (dir && (entry = readdir(dir))) {
        if (leftover_of(name, entry->d_name) &&
            unlinkat(dirfd(dir), entry->d_name, 0) < 0)
            folder_remove(dirfd(dir), entry->d_name);
    }
    if (dir)
        closedir(dir);
    free(copy);
}

void leftovers_remove(const struct job *job)
{
    const char *const outputs[] = {job->output, job->save_latents, job->save_embeds,
                                   job->save_noise};

    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        if (outputs[i])
            output_clean(outputs[i]);
    }
}
