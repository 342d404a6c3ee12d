/* The rows nearest to queries along leading directions, by codes of eight bits a number; `pca_sq8.py` says of what.

   All is done in whole numbers, so that every processor and the way through numpy as well propose the same rows. Codes
   lie in blocks of `LANES` rows: of each two directions the numbers of all rows, then those of the next two. */

#include "_buffers.h"

#include <stdlib.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define WITH_X86 1
#endif

/* To be raised with every change of what is computed or of a call: `pca_sq8.py` takes no other than its own. */
#define VERSION 2
#define LANES 16
/* Steps that a length of 1 is made of, of a query along the directions; of these, as of the query itself, `UNIT`. */
#define SHORT_UNIT 8000
/* Numbers along the leading directions at most: with more, numpy's float32 would not hold every sum exactly. */
#define MOST_DIRECTIONS 256
/* No number of a query of unit length is larger. */
#define LONGEST 8100
/* Blocks that are compared with one query after the other while they are in the processor's nearest cache. */
#define CHUNK 16
/* Queries that share what it takes to read and widen codes. */
#define TOGETHER 4
/* With fewer queries each goes through its cells from the nearest on. */
#define FEW 4
/* Room beyond twice what is wanted: the more there is, the less often the worst are looked for and thrown out. */
#define SPARE 32
/* Up to so many cells are put in order, the nearest first; of more only the nearest is found. */
#define ORDERED 64
/* Products of a code's number and a query's from which on Python's lock is given back: some tens of microseconds. */
#define LONG_SEARCH 1000000

/* ---- what of the rows seen so far may be among the nearest ---- */

/* A score and a row in one number: the larger the nearer, of equal scores the row that came first. */
typedef uint64_t Key;

static ALWAYS inline Key key_of(int32_t score, uint32_t row)
{
    return ((Key)((uint32_t)score ^ 0x80000000u) << 32) | (0xFFFFFFFFu - row);
}

static ALWAYS inline int32_t score_of(Key key)
{
    return (int32_t)((uint32_t)(key >> 32) ^ 0x80000000u);
}

static ALWAYS inline uint32_t row_of(Key key)
{
    return 0xFFFFFFFFu - (uint32_t)key;
}

/* Bring the `wanted` largest to the front, the least of them to place `wanted` - 1. */
static void select_largest(Key *keys, Py_ssize_t count, Py_ssize_t wanted)
{
    Py_ssize_t low = 0, high = count - 1;
    const Py_ssize_t place = wanted - 1;
    while (low < high) {
        const Key one = keys[low], middle = keys[low + (high - low) / 2], last = keys[high];
        const Key pivot = one > middle ? (middle > last ? middle : one > last ? last : one)
                                       : (one > last ? one : middle > last ? last : middle);
        Py_ssize_t left = low, right = high;
        while (left <= right) {
            while (keys[left] > pivot)
                left++;
            while (keys[right] < pivot)
                right--;
            if (left <= right) {
                const Key held = keys[left];
                keys[left++] = keys[right];
                keys[right--] = held;
            }
        }
        if (place <= right)
            high = right;
        else if (place >= left)
            low = left;
        else
            return;
    }
}

typedef struct {
    Key *keys;
    Py_ssize_t count;
    int32_t least; /* what scores lower is not among the nearest */
} Nearest;

static void narrow(Nearest *nearest, Py_ssize_t wanted)
{
    if (nearest->count <= wanted)
        return;
    select_largest(nearest->keys, nearest->count, wanted);
    nearest->count = wanted;
    nearest->least = score_of(nearest->keys[wanted - 1]);
}

/* ---- scores of blocks ---- */

/* Scores of `blocks` blocks of rows for each of some queries, and which of them are no less than the least that counts:
   `pairs` times two numbers of a query, one after the other in 32 bits. */
typedef void (*Compare)(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked, const int32_t *least,
                        int32_t (*scores)[CHUNK * LANES], uint32_t (*which)[CHUNK]);

static ALWAYS inline int16_t first_of(int32_t two)
{
    return (int16_t)(uint16_t)((uint32_t)two & 0xFFFFu);
}

static ALWAYS inline int16_t second_of(int32_t two)
{
    return (int16_t)(uint16_t)((uint32_t)two >> 16);
}

static ALWAYS inline void compare_plainly(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked,
                                          const int32_t *least, int32_t (*scores)[CHUNK * LANES],
                                          uint32_t (*which)[CHUNK], int queries)
{
    for (int query = 0; query < queries; query++)
        for (int block = 0; block < blocks; block++) {
            const int8_t *two = codes + (Py_ssize_t)block * pairs * 2 * LANES;
            int32_t sums[LANES] = {0};
            for (int pair = 0; pair < pairs; pair++, two += 2 * LANES) {
                const int32_t first = first_of(asked[query][pair]), second = second_of(asked[query][pair]);
                for (int lane = 0; lane < LANES; lane++)
                    sums[lane] += two[2 * lane] * first + two[2 * lane + 1] * second;
            }
            uint32_t bits = 0;
            for (int lane = 0; lane < LANES; lane++)
                bits |= (uint32_t)(sums[lane] >= least[query]) << lane;
            memcpy(scores[query] + block * LANES, sums, sizeof sums);
            which[query][block] = bits;
        }
}

#define VARIANT(name, target, body)                                                                                  \
    target static void name##_one(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked,           \
                                  const int32_t *least, int32_t (*scores)[CHUNK * LANES], uint32_t (*which)[CHUNK])  \
    {                                                                                                                \
        body(codes, blocks, pairs, asked, least, scores, which, 1);                                                  \
    }                                                                                                                \
    target static void name##_some(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked,          \
                                   const int32_t *least, int32_t (*scores)[CHUNK * LANES], uint32_t (*which)[CHUNK]) \
    {                                                                                                                \
        body(codes, blocks, pairs, asked, least, scores, which, TOGETHER);                                           \
    }

VARIANT(plain, , compare_plainly)

#ifdef WITH_X86
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

AVX2 static ALWAYS inline void compare_in_avx2(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked,
                                               const int32_t *least, int32_t (*scores)[CHUNK * LANES],
                                               uint32_t (*which)[CHUNK], int queries)
{
    for (int block = 0; block < blocks; block++) {
        const int8_t *two = codes + (Py_ssize_t)block * pairs * 2 * LANES;
        __m256i low[TOGETHER], high[TOGETHER];
#pragma GCC unroll 4
        for (int query = 0; query < queries; query++)
            low[query] = high[query] = _mm256_setzero_si256();
        for (int pair = 0; pair < pairs; pair++, two += 2 * LANES) {
            const __m256i before = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)two));
            const __m256i after = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(two + LANES)));
#pragma GCC unroll 4
            for (int query = 0; query < queries; query++) {
                const __m256i both = _mm256_set1_epi32(asked[query][pair]);
                low[query] = _mm256_add_epi32(low[query], _mm256_madd_epi16(before, both));
                high[query] = _mm256_add_epi32(high[query], _mm256_madd_epi16(after, both));
            }
        }
#pragma GCC unroll 4
        for (int query = 0; query < queries; query++) {
            const __m256i below = _mm256_set1_epi32(least[query]);
            int32_t *to = scores[query] + block * LANES;
            _mm256_storeu_si256((__m256i *)to, low[query]);
            _mm256_storeu_si256((__m256i *)(to + LANES / 2), high[query]);
            const uint32_t not_low = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(below, low[query])));
            const uint32_t not_high =
                (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(below, high[query])));
            which[query][block] = 0xFFFFu & ~(not_low | not_high << 8);
        }
    }
}

#define IN_512_BITS(name, target, added)                                                                             \
    target static ALWAYS inline void name(const int8_t *codes, int blocks, int pairs, const int32_t *const *asked,   \
                                          const int32_t *least, int32_t (*scores)[CHUNK * LANES],                    \
                                          uint32_t (*which)[CHUNK], int queries)                                     \
    {                                                                                                                \
        for (int block = 0; block < blocks; block++) {                                                               \
            const int8_t *two = codes + (Py_ssize_t)block * pairs * 2 * LANES;                                       \
            __m512i sums[TOGETHER];                                                                                  \
            _Pragma("GCC unroll 4") for (int query = 0; query < queries; query++) sums[query] = _mm512_setzero_si512(); \
            for (int pair = 0; pair < pairs; pair++, two += 2 * LANES) {                                             \
                const __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)two));                 \
                _Pragma("GCC unroll 4") for (int query = 0; query < queries; query++)                                \
                {                                                                                                    \
                    const __m512i both = _mm512_set1_epi32(asked[query][pair]);                                      \
                    sums[query] = added;                                                                             \
                }                                                                                                    \
            }                                                                                                        \
            _Pragma("GCC unroll 4") for (int query = 0; query < queries; query++)                                    \
            {                                                                                                        \
                _mm512_storeu_si512(scores[query] + block * LANES, sums[query]);                                     \
                which[query][block] = _mm512_cmpge_epi32_mask(sums[query], _mm512_set1_epi32(least[query]));         \
            }                                                                                                        \
        }                                                                                                            \
    }

IN_512_BITS(compare_in_avx512, AVX512, _mm512_add_epi32(sums[query], _mm512_madd_epi16(wide, both)))
IN_512_BITS(compare_in_vnni, VNNI, _mm512_dpwssd_epi32(sums[query], wide, both))

VARIANT(avx2, AVX2, compare_in_avx2)
VARIANT(avx512, AVX512, compare_in_avx512)
VARIANT(vnni, VNNI, compare_in_vnni)
#endif

static Compare compare_one = plain_one, compare_some = plain_some;

/* Takes the ways for the processor at hand, at most those of `level`: the widest has the highest. */
static int choose(int level)
{
    compare_one = plain_one;
    compare_some = plain_some;
#ifdef WITH_X86
    __builtin_cpu_init();
    if (level >= 1 && __builtin_cpu_supports("avx2")) {
        compare_one = avx2_one;
        compare_some = avx2_some;
        if (level >= 2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
            compare_one = avx512_one;
            compare_some = avx512_some;
            if (level >= 3 && __builtin_cpu_supports("avx512vnni")) {
                compare_one = vnni_one;
                compare_some = vnni_some;
                return 3;
            }
            return 2;
        }
        return 1;
    }
#endif
    return 0;
}

/* ---- the search ---- */

typedef struct {
    const float *queries;
    const int16_t *basis;
    const float *centres, *biases;
    const int64_t *starts;
    const int8_t *codes;
    const int32_t *rows;
    const uint8_t *kept, *opened;
    const uint16_t *lanes;
    int64_t *found;
    Py_ssize_t count, directions, cells, effort, depth, bytes_kept;
} Asked;

/* A query's numbers along the leading directions, two in every 32 bits. */
FOR_EACH_PROCESSOR
static void along(const Asked *of, const float *query, int32_t *pairs)
{
    int16_t steps[DIM], numbers[MOST_DIRECTIONS];
    in_steps(query, steps);
    for (Py_ssize_t direction = 0; direction < of->directions; direction++) {
        const int16_t *by = of->basis + direction * DIM;
        /* Of unit vectors it fits; of others it means nothing, and is defined. */
        uint32_t sum = 0;
        for (int place = 0; place < DIM; place++)
            sum += (uint32_t)((int32_t)by[place] * steps[place]);
        const double number = (int32_t)sum * ((double)SHORT_UNIT / ((double)UNIT * UNIT));
        const double whole = number < 0 ? number - 0.5 : number + 0.5;
        numbers[direction] = (int16_t)(whole > LONGEST ? LONGEST : whole < -LONGEST ? -LONGEST : whole);
    }
    for (Py_ssize_t pair = 0; 2 * pair < of->directions; pair++)
        pairs[pair] = (int32_t)((uint32_t)(uint16_t)numbers[2 * pair] | (uint32_t)(uint16_t)numbers[2 * pair + 1] << 16);
}

/* Left to itself the compiler goes through some blocks at a time, and shuffles numbers more than it multiplies. */
typedef float Floats __attribute__((vector_size(LANES * sizeof(float))));

/* The nearest cells of a query, the nearest first; returns how many. Centres lie in blocks of `LANES`, direction by
   direction. */
FOR_EACH_PROCESSOR
static Py_ssize_t cells_of(const Asked *of, const int32_t *pairs, Key *keys, Py_ssize_t room, int32_t *cells)
{
    float numbers[MOST_DIRECTIONS];
    for (Py_ssize_t pair = 0; 2 * pair < of->directions; pair++) {
        numbers[2 * pair] = first_of(pairs[pair]);
        numbers[2 * pair + 1] = second_of(pairs[pair]);
    }
    Nearest nearest = {keys, 0, INT32_MIN};
    for (Py_ssize_t begin = 0; begin < of->cells; begin += LANES) {
        const float *centre = of->centres + begin * of->directions;
        Floats even = {0}, odd = {0}, first, second;
        for (Py_ssize_t pair = 0; 2 * pair < of->directions; pair++, centre += 2 * LANES) {
            memcpy(&first, centre, sizeof first);
            memcpy(&second, centre + LANES, sizeof second);
            even += numbers[2 * pair] * first;
            odd += numbers[2 * pair + 1] * second;
        }
        const Floats sums = even + odd;
        int32_t scores[LANES];
        for (int lane = 0; lane < LANES; lane++)
            scores[lane] = (int32_t)(sums[lane] - of->biases[begin + lane]);
        uint32_t bits = 0;
        for (int lane = 0; lane < LANES; lane++)
            bits |= (uint32_t)(scores[lane] >= nearest.least) << lane;
        for (; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            const Py_ssize_t cell = begin + lane;
            if (cell >= of->cells || (of->opened && !(of->opened[cell >> 3] >> (cell & 7) & 1)))
                continue;
            keys[nearest.count++] = key_of(scores[lane], (uint32_t)cell);
            if (nearest.count == room)
                narrow(&nearest, of->effort);
        }
    }
    narrow(&nearest, of->effort);
    for (Py_ssize_t place = 1; place < nearest.count; place++) {
        const Key held = keys[place];
        Py_ssize_t at = place;
        if (nearest.count <= ORDERED)
            for (; at && keys[at - 1] < held; at--)
                keys[at] = keys[at - 1];
        else if (keys[0] < held) {
            keys[place] = keys[0];
            at = 0;
        }
        keys[at] = held;
    }
    for (Py_ssize_t place = 0; place < nearest.count; place++)
        cells[place] = (int32_t)row_of(keys[place]);
    return nearest.count;
}

static void take(const Asked *of, Nearest *nearest, Py_ssize_t room, const int32_t *scores, const uint32_t *which,
                 Py_ssize_t first, int blocks)
{
    for (int block = 0; block < blocks; block++) {
        const int32_t *rows = of->rows + (first + block) * LANES;
        const uint32_t meant = of->lanes ? of->lanes[first + block] : UINT32_MAX;
        for (uint32_t bits = which[block] & meant; bits; bits &= bits - 1) {
            const int lane = __builtin_ctz(bits);
            const int32_t row = rows[lane];
            const int32_t score = scores[block * LANES + lane];
            if (row < 0 || score < nearest->least)
                continue;
            if (of->kept && ((row >> 3) >= of->bytes_kept || !(of->kept[row >> 3] >> (row & 7) & 1)))
                continue;
            nearest->keys[nearest->count++] = key_of(score, (uint32_t)row);
            if (nearest->count == room)
                narrow(nearest, of->depth);
        }
    }
}

/* How many blocks to compare next, from `first` on, which is moved past those without any row that is meant; 0 for none.
   A single one of these is compared with its neighbours: to begin anew takes longer. */
static ALWAYS inline int next_blocks(const Asked *of, Py_ssize_t *first, Py_ssize_t end)
{
    if (!of->lanes)
        return (int)(end - *first < CHUNK ? end - *first : CHUNK);
    while (*first < end && !of->lanes[*first])
        ++*first;
    const Py_ssize_t most = end - *first < CHUNK ? end : *first + CHUNK;
    Py_ssize_t after = *first;
    for (Py_ssize_t block = *first; block < most && block - after < 2; block++)
        if (of->lanes[block])
            after = block + 1;
    return (int)(after - *first);
}

/* Compare some queries with all rows of a cell that are meant. */
static void open_cell(const Asked *of, Py_ssize_t cell, const int32_t *queries, Py_ssize_t count, const int32_t *asked,
                      Nearest *nearest, Py_ssize_t room)
{
    const int pairs = (int)(of->directions / 2);
    const Py_ssize_t end = of->starts[cell + 1];
    int32_t scores[TOGETHER][CHUNK * LANES];
    uint32_t which[TOGETHER][CHUNK];
    int blocks;
    for (Py_ssize_t first = of->starts[cell]; (blocks = next_blocks(of, &first, end)); first += blocks) {
        const int8_t *codes = of->codes + first * pairs * 2 * LANES;
        for (Py_ssize_t begin = 0; begin < count;) {
            const int some = count - begin >= TOGETHER ? TOGETHER : 1;
            const int32_t *numbers[TOGETHER];
            int32_t least[TOGETHER];
            for (int place = 0; place < some; place++) {
                numbers[place] = asked + queries[begin + place] * (Py_ssize_t)pairs;
                least[place] = nearest[queries[begin + place]].least;
            }
            (some == 1 ? compare_one : compare_some)(codes, blocks, pairs, numbers, least, scores, which);
            for (int place = 0; place < some; place++)
                take(of, nearest + queries[begin + place], room, scores[place], which[place], first, blocks);
            begin += some;
        }
    }
}

/* Open cells one after the other, each for all the queries that want it: places from `from` on of their lists. */
static void open_cells(const Asked *of, const int32_t *cells, const Py_ssize_t *opened, Py_ssize_t from, Py_ssize_t to,
                       int32_t *ends, int32_t *queries, const int32_t *asked, Nearest *nearest, Py_ssize_t room)
{
    memset(ends, 0, ((size_t)of->cells + 1) * sizeof *ends);
    for (Py_ssize_t query = 0; query < of->count; query++)
        for (Py_ssize_t place = from; place < to && place < opened[query]; place++)
            ends[cells[query * of->effort + place] + 1]++;
    for (Py_ssize_t cell = 0; cell < of->cells; cell++)
        ends[cell + 1] += ends[cell];
    for (Py_ssize_t query = 0; query < of->count; query++)
        for (Py_ssize_t place = from; place < to && place < opened[query]; place++)
            queries[ends[cells[query * of->effort + place]]++] = (int32_t)query;
    for (Py_ssize_t cell = 0, begin = 0; cell < of->cells; cell++) {
        if (ends[cell] > begin)
            open_cell(of, cell, queries + begin, ends[cell] - begin, asked, nearest, room);
        begin = ends[cell];
    }
}

/* Returns -1 where there is no memory for it, else 0. */
static int search(const Asked *of)
{
    const size_t count = (size_t)of->count, effort = (size_t)of->effort, cells = (size_t)of->cells;
    const size_t pairs = (size_t)of->directions / 2, room = 2 * (size_t)of->depth + SPARE;
    const size_t cell_room = 2 * effort + SPARE;
    Key *keys = malloc((count * room + cell_room) * sizeof(Key));
    Nearest *nearest = malloc(count * sizeof(Nearest));
    Py_ssize_t *opened = malloc(count * sizeof(Py_ssize_t));
    int32_t *asked = malloc((count * pairs + 2 * count * effort + cells + 1) * sizeof(int32_t));
    if (!keys || !nearest || !opened || !asked) {
        free(keys), free(nearest), free(opened), free(asked);
        return -1;
    }
    int32_t *chosen = asked + count * pairs, *queries = chosen + count * effort, *ends = queries + count * effort;
    for (size_t query = 0; query < count; query++) {
        nearest[query] = (Nearest){keys + cell_room + query * room, 0, INT32_MIN};
        along(of, of->queries + query * DIM, asked + query * pairs);
        if (of->cells == 1) {
            chosen[query * effort] = 0;
            opened[query] = 1;
        } else
            opened[query] = cells_of(of, asked + query * pairs, keys, (Py_ssize_t)cell_room, chosen + query * effort);
    }
    if (of->count < FEW) {
        for (int32_t query = 0; query < of->count; query++)
            for (Py_ssize_t place = 0; place < opened[query]; place++)
                open_cell(of, chosen[query * of->effort + place], &query, 1, asked, nearest, (Py_ssize_t)room);
    } else {
        /* The nearest cell first: what it holds keeps most rows of the others out. */
        open_cells(of, chosen, opened, 0, 1, ends, queries, asked, nearest, (Py_ssize_t)room);
        open_cells(of, chosen, opened, 1, of->effort, ends, queries, asked, nearest, (Py_ssize_t)room);
    }
    for (size_t query = 0; query < count; query++) {
        narrow(&nearest[query], of->depth);
        int64_t *found = of->found + query * (size_t)of->depth;
        for (Py_ssize_t place = 0; place < of->depth; place++)
            found[place] = place < nearest[query].count ? (int64_t)row_of(nearest[query].keys[place]) : -1;
    }
    free(keys), free(nearest), free(opened), free(asked);
    return 0;
}

/* ---- Python's side ---- */

static const Kind FLOATS = {"f", 4, 0}, SHORTS = {"h", 2, 0}, LONGS = {"lq", 8, 0}, INTEGERS = {"il", 4, 0};
static const Kind BYTES = {"b", 1, 0}, BITS = {"B", 1, 0}, MASKS = {"H", 2, 0}, NEW_LONGS = {"lq", 8, 1};

static PyObject *propose(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Asked of = {0};
    Py_ssize_t asked, turned, centred, biased, started, coded, numbered, opened = 0, meant = 0, found;
    if (count != 12)
        return refused(&arrays, PyExc_TypeError,
                       "propose takes 11 arrays (queries, basis, centres, biases, starts, codes, rows, kept, opened,"
                       " lanes, found; None for all of kept, opened and lanes) and a number (effort)");
    of.queries = look_into(&arrays, given[0], &FLOATS, &asked);
    of.basis = of.queries ? look_into(&arrays, given[1], &SHORTS, &turned) : NULL;
    of.centres = of.basis ? look_into(&arrays, given[2], &FLOATS, &centred) : NULL;
    of.biases = of.centres ? look_into(&arrays, given[3], &FLOATS, &biased) : NULL;
    of.starts = of.biases ? look_into(&arrays, given[4], &LONGS, &started) : NULL;
    of.codes = of.starts ? look_into(&arrays, given[5], &BYTES, &coded) : NULL;
    of.rows = of.codes ? look_into(&arrays, given[6], &INTEGERS, &numbered) : NULL;
    of.found = of.rows ? look_into(&arrays, given[10], &NEW_LONGS, &found) : NULL;
    if (!of.found)
        return refused(&arrays, NULL, NULL);
    if (given[7] != Py_None && !(of.kept = look_into(&arrays, given[7], &BITS, &of.bytes_kept)))
        return refused(&arrays, NULL, NULL);
    if (given[8] != Py_None && !(of.opened = look_into(&arrays, given[8], &BITS, &opened)))
        return refused(&arrays, NULL, NULL);
    if (given[9] != Py_None && !(of.lanes = look_into(&arrays, given[9], &MASKS, &meant)))
        return refused(&arrays, NULL, NULL);
    of.effort = PyNumber_AsSsize_t(given[11], PyExc_OverflowError);
    if (PyErr_Occurred())
        return refused(&arrays, NULL, NULL);
    of.count = asked / DIM;
    of.directions = turned / DIM;
    of.cells = started - 1;
    of.depth = of.count ? found / of.count : 0;
    const Py_ssize_t blocks = of.cells > 0 ? (of.cells + LANES - 1) / LANES : 0;
    if (asked % DIM || turned % DIM || of.directions % 2 || of.directions < 2 || of.directions > MOST_DIRECTIONS ||
        of.cells < 1 || biased != blocks * LANES || centred != biased * of.directions || numbered % LANES ||
        coded != numbered * of.directions || of.depth * of.count != found || of.effort < 1 || of.effort > of.cells ||
        (of.opened && opened * 8 < of.cells) || (of.lanes && meant * LANES != numbered) || of.starts[0] < 0 ||
        of.starts[of.cells] * LANES > numbered)
        return refused(&arrays, PyExc_ValueError, "the arrays of propose do not go together");
    for (Py_ssize_t cell = 0; cell < of.cells; cell++)
        if (of.starts[cell] > of.starts[cell + 1])
            return refused(&arrays, PyExc_ValueError, "a cell ends before it begins");
    if (!of.count || !of.depth) {
        let_go(&arrays);
        Py_RETURN_NONE;
    }
    const double products = (double)numbered * of.directions * of.effort / of.cells * of.count;
    PyThreadState *state = products >= LONG_SEARCH ? PyEval_SaveThread() : NULL;
    const int failed = search(&of);
    if (state)
        PyEval_RestoreThread(state);
    let_go(&arrays);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *use(PyObject *self, PyObject *level)
{
    const Py_ssize_t wanted = PyNumber_AsSsize_t(level, PyExc_OverflowError);
    if (PyErr_Occurred())
        return NULL;
    return PyLong_FromLong(choose(wanted > 3 ? 3 : (int)wanted));
}

static PyMethodDef METHODS[] = {
    {"propose", (PyCFunction)(void (*)(void))propose, METH_FASTCALL,
     "propose(queries, basis, centres, biases, starts, codes, rows, kept, opened, lanes, found, effort)"},
    {"use", use, METH_O, "use(level): compare with instructions of at most that level; the level taken"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "molsig.index._pca_sq8", "Compiled parts of molsig.index.pca_sq8.", -1, METHODS,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__pca_sq8(void)
{
    choose(3);
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddIntConstant(module, "VERSION", VERSION) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
