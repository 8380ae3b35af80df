/* new.c - mete new KIND NAME: a folder with a plugin that already builds, loads and passes the
 * selftest, its Makefile, a config that uses it, and a README.
 *
 * The templates say @NAME@ where the name goes; they are real plugins, built by a test.
 */
#include "cli/cli.h"
#include "cli/templates.h"

#include <mete/text.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char usage[] =
    "usage: mete new KIND NAME\n\n"
    "Writes a folder NAME with a small working plugin to change: NAME.c, a Makefile, test.cfg and\n"
    "README.md. KIND is reward, rubric, policy or environment; NAME is lower-case letters, digits\n"
    "and _, beginning with a letter.\n";

static bool
is_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 40 && *name >= 'a' && *name <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static int
failed(const char *path)
{
    mete__say("cannot write %s: %s", path, strerror(errno));
    return METE__EXIT_FAILED;
}

/* The template with the name put in. */
static int
write_file(const char *folder, const char *file, const char *text, const char *name)
{
    char path[PATH_MAX];
    mete_buffer out = {0};
    for (const char *at = text; *at;) {
        const char *mark = strstr(at, "@NAME@");
        mete_buffer_append(&out, at, mark ? (size_t)(mark - at) : strlen(at));
        if (!mark)
            break;
        mete_buffer_string(&out, name);
        at = mark + 6;
    }
    if (out.status || snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path) {
        mete_buffer_free(&out);
        errno = out.status ? ENOMEM : ENAMETOOLONG;
        return failed(file);
    }
    FILE *to = fopen(path, "wx");
    bool bad = !to || fwrite(out.data, 1, out.length, to) != out.length;
    if (to && fclose(to))
        bad = true;
    mete_buffer_free(&out);
    return bad ? failed(path) : METE__EXIT_DONE;
}

static int
write_all(const struct mete__template *template, const char *name)
{
    char source[64];
    if (mkdir(name, 0755))
        return failed(name);
    snprintf(source, sizeof source, "%s.c", name);
    int code = write_file(name, source, template->source, name);
    if (!code)
        code = write_file(name, "Makefile", template->makefile, name);
    if (!code)
        code = write_file(name, "test.cfg", template->config, name);
    if (!code && template->data)
        code = write_file(name, "test.jsonl", template->data, name);
    if (!code)
        code = write_file(name, "README.md", template->readme, name);
    return code;
}

int
mete__command_new(int argc, char **argv)
{
    mete__args args;
    int code;
    if (!mete__args_read(argc, argv, "", 2, 2, usage, &args, &code))
        return code;
    const char *kind = args.operand[0], *name = args.operand[1];
    const struct mete__template *template = NULL;
    for (size_t i = 0; i < mete__templates; i++)
        if (strcmp(mete__template[i].kind, kind) == 0)
            template = &mete__template[i];
    if (!template) {
        char *near = mete__nearest(kind, "reward rubric policy environment");
        code = mete__misused("new", "\"%s\" is no kind: reward, rubric, policy or environment%s%s",
                             kind, near ? "; perhaps " : "", near ? near : "");
        free(near);
    } else if (!is_name(name)) {
        code = mete__misused("new",
                             "\"%s\" is no plugin name: lower-case letters, digits and _, "
                             "beginning with a letter, at most 40",
                             name);
    } else {
        code = write_all(template, name);
        if (!code)
            printf("%s: a %s plugin; build and try it:\n  cd %s && make && make check\n", name,
                   kind, name);
    }
    mete__args_free(&args);
    return code;
}
