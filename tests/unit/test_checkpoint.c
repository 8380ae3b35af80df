/* test_checkpoint.c - checkpoints: round trips, damage of every byte, cuts at every length, failed
 * writes, and hostile safetensors headers. */
#include "run/checkpoint_file.h"
#include "run/crc.h"

#include <CUnit/CUnit.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int
begin(void)
{
    snprintf(folder, sizeof folder, "%s", "/tmp/mete-checkpoint-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static void
wipe(const char *path)
{
    DIR *dir = opendir(path);
    if (dir) {
        for (struct dirent *e; (e = readdir(dir));) {
            char inner[512];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
            wipe(inner);
        }
        closedir(dir);
    }
    remove(path);
}

static int
end(void)
{
    wipe(folder);
    return 0;
}

static mete__checkpoint *
sample(double mark)
{
    mete__checkpoint *c = mete__checkpoint_new();
    const uint8_t bytes[3] = {1, 2, 255};
    const float floats[5] = {1.5f, -0.0f, 3e38f, 1e-45f, 0};
    const int64_t longs[2] = {INT64_MIN, INT64_MAX};
    const int32_t ints[1] = {-7};
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "bytes", METE_U8, 3, bytes, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "reward.\"é\"/w", METE_F32, 5, floats, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "mark", METE_F64, 1, &mark, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "longs", METE_I64, 2, longs, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "ints", METE_I32, 1, ints, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_add(c, "none", METE_F32, 0, NULL, NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_note(c, "seed", "1", NULL), METE_OK);
    CU_ASSERT_EQUAL(mete__checkpoint_note(c, "seed", "2", NULL), METE_OK);
    return c;
}

static double
mark_of(const mete__checkpoint *c)
{
    size_t one = 1;
    const double *mark = c ? mete__checkpoint_get(c, "mark", METE_F64, &one) : NULL;
    return mark ? *mark : -1;
}

/* RFC 3720, appendix B.4. */
static void
test_crc(void)
{
    unsigned char zeros[32] = {0}, ones[32], up[32];
    memset(ones, 255, 32);
    for (int i = 0; i < 32; i++)
        up[i] = (unsigned char)i;
    CU_ASSERT_EQUAL(mete__crc32c(0, zeros, 32), 0x8A9136AAu);
    CU_ASSERT_EQUAL(mete__crc32c(0, ones, 32), 0x62A8AB43u);
    CU_ASSERT_EQUAL(mete__crc32c(0, up, 32), 0x46DD794Eu);
    CU_ASSERT_EQUAL(mete__crc32c(0, "123456789", 9), 0xE3069283u);
    CU_ASSERT_EQUAL(mete__crc32c(mete__crc32c(0, up, 13), up + 13, 19), 0x46DD794Eu);
}

static void
test_round_trip(void)
{
    mete__checkpoint *c = sample(4);
    mete_error err = {0};
    uint64_t iteration = 0;
    CU_ASSERT_EQUAL(mete__checkpoint_write(c, folder, 25, 2, &err), METE_OK);
    mete__checkpoint *d = mete__checkpoint_read(folder, &iteration, NULL, NULL, &err);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    CU_ASSERT_EQUAL(iteration, 25);
    for (size_t i = 0; i < c->arrays; i++) {
        size_t count = SIZE_MAX;
        const mete__array *a = &c->array[i];
        const void *data = mete__checkpoint_get(d, a->name, a->element, &count);
        CU_ASSERT_PTR_NOT_NULL(data);
        CU_ASSERT_EQUAL(count, a->count);
        CU_ASSERT(data && memcmp(data, a->data, a->end - a->begin) == 0);
    }
    CU_ASSERT_STRING_EQUAL(mete__checkpoint_noted(d, "seed"), "2");
    CU_ASSERT_PTR_NULL(mete__checkpoint_noted(d, "nothing"));
    size_t two = 2;
    CU_ASSERT_PTR_NULL(mete__checkpoint_get(d, "mark", METE_F64, &two));
    size_t any = SIZE_MAX;
    CU_ASSERT_PTR_NULL(mete__checkpoint_get(d, "mark", METE_F32, &any));
    CU_ASSERT_NOT_EQUAL(mete__checkpoint_add(d, "mark", METE_U8, 1, "", &err), METE_OK);
    CU_ASSERT_NOT_EQUAL(mete__checkpoint_add(d, "text", METE_TEXT, 1, "", &err), METE_OK);
    CU_ASSERT_NOT_EQUAL(mete__checkpoint_add(d, "bad\xff", METE_U8, 1, "", &err), METE_OK);
    mete__checkpoint_free(c);
    mete__checkpoint_free(d);
}

/* The same state gives the same bytes, whatever came before. */
static void
test_rewrite_and_keep(void)
{
    mete_error err = {0};
    uint64_t iteration = 0;
    for (int i = 26; i <= 30; i++) {
        mete__checkpoint *c = sample(i);
        CU_ASSERT_EQUAL(mete__checkpoint_write(c, folder, (uint64_t)i, 3, &err), METE_OK);
        CU_ASSERT_EQUAL(mete__checkpoint_write(c, folder, (uint64_t)i, 3, &err), METE_OK);
        mete__checkpoint_free(c);
    }
    char path[128];
    snprintf(path, sizeof path, "%s/checkpoints", folder);
    size_t count;
    uint64_t *number = mete__checkpoint_numbers(path, &count);
    CU_ASSERT_EQUAL(count, 3);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT(number[i] >= 28);
    free(number);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        CU_ASSERT(strncmp(e->d_name, ".tmp", 4) != 0);
    closedir(dir);
    mete__checkpoint *d = mete__checkpoint_read(folder, &iteration, NULL, NULL, &err);
    CU_ASSERT_EQUAL(mark_of(d), 30);
    mete__checkpoint_free(d);
}

static void
told(void *user, const char *text)
{
    ++*(int *)user;
    CU_ASSERT(strlen(text) > 0);
}

static void
put(const char *path, const char *data, size_t length)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0644);
    CU_ASSERT_EQUAL(mete__file_write(fd, data, length), 0);
    close(fd);
}

/* Every byte flipped by each single bit and by all, and every shorter length: noticed, told, and
 * the checkpoint before is taken. */
static void
test_damage(void)
{
    static const char *const file[] = {"state.safetensors", "manifest.json"};
    for (int f = 0; f < 2; f++) {
        char path[256];
        mete_error err = {0};
        size_t length = 0;
        int wrong = 0;
        snprintf(path, sizeof path, "%s/checkpoints/00000030/%s", folder, file[f]);
        char *good = mete__file_read(path, SIZE_MAX / 2, &length, &err);
        CU_ASSERT_PTR_NOT_NULL_FATAL(good);
        for (size_t i = 0; i < 2 * length; i++) {
            char was = good[i % length];
            int tells = 0;
            uint64_t iteration = 0;
            if (i < length) {
                good[i] = (char)(was ^ (i % 9 == 8 ? 255 : 1 << i % 9));
                put(path, good, length);
                good[i] = was;
            } else {
                put(path, good, i - length);
            }
            mete__checkpoint *d = mete__checkpoint_read(folder, &iteration, told, &tells, &err);
            wrong += !(d && iteration == 29 && tells == 1 && mark_of(d) == 29);
            mete__checkpoint_free(d);
        }
        CU_ASSERT_EQUAL(wrong, 0);
        put(path, good, length);
        free(good);
    }
    uint64_t iteration = 0;
    mete__checkpoint *d = mete__checkpoint_read(folder, &iteration, NULL, NULL, NULL);
    CU_ASSERT_EQUAL(iteration, 30);
    mete__checkpoint_free(d);
}

/* A file that may not grow past a limit stands for a full disk: at every limit the write fails with
 * path and reason, and what was there stays. */
static void
test_no_room(void)
{
    struct rlimit was, limit;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    limit = was;
    mete__checkpoint *c = sample(31);
    int failures = 0;
    for (rlim_t bytes = 0; bytes < 400; bytes += 37) {
        mete_error err = {0};
        uint64_t iteration = 0;
        limit.rlim_cur = bytes;
        setrlimit(RLIMIT_FSIZE, &limit);
        int rc = mete__checkpoint_write(c, folder, 31, 1, &err);
        setrlimit(RLIMIT_FSIZE, &was);
        failures += rc == METE_EIO && strstr(err.message, "00000031/") &&
                    strstr(err.message, "File too large");
        mete__checkpoint *d = mete__checkpoint_read(folder, &iteration, NULL, NULL, &err);
        CU_ASSERT_EQUAL(mark_of(d), 30);
        mete__checkpoint_free(d);
    }
    CU_ASSERT_EQUAL(failures, 11);
    signal(SIGXFSZ, handler);
    mete__checkpoint_free(c);
}

static void
test_none(void)
{
    mete_error err = {.code = 1};
    uint64_t iteration;
    CU_ASSERT_PTR_NULL(mete__checkpoint_read("/nonexistent", &iteration, NULL, NULL, &err));
    CU_ASSERT_EQUAL(err.code, METE_OK);
}

static int
parses(const char *header, size_t data)
{
    size_t n = strlen(header);
    unsigned char *file = calloc(1, 8 + n + data);
    mete__tensors tensors;
    mete_error err = {0};
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(file + 8, header, n);
    int rc = mete__tensors_parse(file, 8 + n + data, &tensors, &err);
    CU_ASSERT(rc == METE_OK || strlen(err.message) > 0);
    if (rc == METE_OK)
        mete__tensors_free(&tensors);
    free(file);
    return rc == METE_OK;
}

static void
test_hostile(void)
{
#define ONE(type, shape, from, to)                                                                 \
    "{\"a\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}}"
    CU_ASSERT(parses("{}", 0));
    CU_ASSERT(parses("{\"__metadata__\":{\"k\":\"v\"}}   ", 0));
    CU_ASSERT(parses(ONE("F32", "[2,1]", "0", "8"), 8));
    CU_ASSERT(parses(ONE("F32", "[]", "0", "4"), 4));
    CU_ASSERT(parses(ONE("F32", "[0]", "0", "0"), 0));
    CU_ASSERT(!parses("{}", 1));
    CU_ASSERT(!parses("", 0));
    CU_ASSERT(!parses("[]", 0));
    CU_ASSERT(!parses(ONE("F32", "[2]", "0", "8"), 7));
    CU_ASSERT(!parses(ONE("F32", "[2]", "0", "8"), 9));
    CU_ASSERT(!parses(ONE("F64", "[2]", "0", "8"), 8));
    CU_ASSERT(!parses(ONE("F8_E5M2", "[8]", "0", "8"), 8));
    CU_ASSERT(!parses(ONE("F32", "[-2]", "0", "8"), 8));
    CU_ASSERT(!parses(ONE("F32", "[2.5]", "0", "10"), 10));
    CU_ASSERT(!parses(ONE("F32", "2", "0", "8"), 8));
    CU_ASSERT(!parses(ONE("F32", "[2]", "8", "0"), 8));
    CU_ASSERT(!parses(ONE("F32", "[2]", "1", "9"), 9));
    CU_ASSERT(!parses(ONE("U8", "[9223372036854775807]", "0", "9223372036854775807"), 8));
    CU_ASSERT(!parses(ONE("F64", "[4611686018427387904,4]", "0", "0"), 0));
    CU_ASSERT(!parses(ONE("F64", "[2305843009213693952]", "0", "0"), 0));
    CU_ASSERT(!parses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                      "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
                      7));
    CU_ASSERT(!parses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                      "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
                      8));
    CU_ASSERT(!parses("{\"__metadata__\":{\"k\":1}}", 0));
    mete__tensors tensors;
    const unsigned char huge[16] = {255, 255, 255, 255, 255, 255, 255, 127, '{', '}'};
    CU_ASSERT_NOT_EQUAL(mete__tensors_parse(huge, 16, &tensors, NULL), METE_OK);
    for (size_t n = 0; n < 8; n++)
        CU_ASSERT_NOT_EQUAL(mete__tensors_parse(huge, n, &tensors, NULL), METE_OK);
#undef ONE
}

void suite_checkpoint(void);

void
suite_checkpoint(void)
{
    CU_pSuite suite = CU_add_suite("checkpoint", begin, end);
    CU_add_test(suite, "CRC-32C of RFC 3720", test_crc);
    CU_add_test(suite, "what is written is read", test_round_trip);
    CU_add_test(suite, "rewritten in place, N kept", test_rewrite_and_keep);
    CU_add_test(suite, "every damaged byte and every cut", test_damage);
    CU_add_test(suite, "no room on the disk", test_no_room);
    CU_add_test(suite, "no checkpoint at all", test_none);
    CU_add_test(suite, "hostile safetensors", test_hostile);
}
