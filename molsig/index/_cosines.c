/* Cosines of queries and stored rows, and the best rows of each query; `cosines.py` says what is computed.

   All sums are made in one order, without fused operations: any compiler and any processor give the same bits, which
   are those of the way through numpy as well. Vectors are C-contiguous rows of `DIM` numbers. */

#include "_buffers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "sums have to be made as they are written, in the precision they are written in"
#endif

/* To be raised with every change of what is computed or of a call: `cosines.py` takes no other than its own. */
#define VERSION 1
#define LANES 32
#define ROUGH_LANES 32
/* Rows ahead of the one in work that are fetched: each is 48 lines, which take as long to come as two rows to multiply. */
#define AHEAD 2
/* Below so many pairs, or vectors, it takes longer to give Python's lock back and to get it again. */
#define FEW 512
#define FEW_VECTORS 16

/* Bounds that the compiler knows let it keep all sums in registers. */
#define FOLD(sums, width)                       \
    for (int lane = 0; lane < (width); lane++) \
        (sums)[lane] += (sums)[lane + (width)];

static ALWAYS inline double folded(double *sums)
{
    FOLD(sums, 16)
    FOLD(sums, 8)
    FOLD(sums, 4)
    FOLD(sums, 2)
    return sums[0] + sums[1];
}

/* The sum of products of two vectors' numbers, of whatever precision, in the one order. */
#define SUMMED(sum, one, other)                                           \
    double sums[LANES] = {0};                                             \
    for (int begin = 0; begin < DIM; begin += LANES)                      \
        for (int lane = 0; lane < LANES; lane++)                          \
            sums[lane] += (double)(one)[begin + lane] * (double)(other)[begin + lane]; \
    const double sum = folded(sums);

static ALWAYS inline double product(const float *row, const double *asked)
{
    SUMMED(sum, row, asked)
    return sum;
}

/* As `product`, within `SLACK` of it and in a quarter of the time. */
static ALWAYS inline float rough_product(const float *row, const float *asked)
{
    float sums[ROUGH_LANES] = {0};
    for (int begin = 0; begin < DIM; begin += ROUGH_LANES)
        for (int lane = 0; lane < ROUGH_LANES; lane++)
            sums[lane] += row[begin + lane] * asked[begin + lane];
    FOLD(sums, 16)
    FOLD(sums, 8)
    FOLD(sums, 4)
    FOLD(sums, 2)
    return sums[0] + sums[1];
}

static ALWAYS inline void fetch(const float *row)
{
    for (int begin = 0; begin < DIM; begin += 16)
        FETCH(row + begin);
}

/* ---- the best rows of a query ---- */

typedef struct {
    float score;
    int32_t code;
    int64_t row;
} Kept;

static ALWAYS inline int worse(const Kept *one, const Kept *other)
{
    if (one->score != other->score)
        return one->score < other->score;
    return one->code > other->code;
}

/* Put what is kept into the heap from place `at` downwards; the worst of all is the root. */
static ALWAYS inline void sink(Kept *heap, Py_ssize_t count, Py_ssize_t at, Kept kept)
{
    for (;;) {
        Py_ssize_t below = 2 * at + 1;
        if (below >= count)
            break;
        if (below + 1 < count && worse(&heap[below + 1], &heap[below]))
            below++;
        if (!worse(&heap[below], &kept))
            break;
        heap[at] = heap[below];
        at = below;
    }
    heap[at] = kept;
}

/* Keep one more, or the better ones of `k`; returns how many are kept. */
static ALWAYS inline Py_ssize_t keep(Kept *heap, Py_ssize_t count, Py_ssize_t k, Kept kept)
{
    if (count == k) {
        if (worse(&heap[0], &kept))
            sink(heap, count, 0, kept);
        return count;
    }
    Py_ssize_t at = count;
    while (at && worse(&kept, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = kept;
    return count + 1;
}

/* Put the heap in order, the best first. */
static ALWAYS inline void order(Kept *heap, Py_ssize_t count)
{
    while (count > 1) {
        const Kept worst = heap[0];
        count--;
        sink(heap, count, 0, heap[count]);
        heap[count] = worst;
    }
}

typedef struct {
    const double *directions;
    const float *rounded;
    const float *vectors;
    const double *lengths;
    const int32_t *codes;
    const int64_t *rows;
    int64_t *found;
    float *scores;
    Py_ssize_t queries, depth, k, stored;
    double slack;
} Best;

/* With room for a heap of `k` and for rough scores of all rows that a query has; returns -1 where a row is not among
   those stored, else 0. */
FOR_EACH_PROCESSOR
static int best_of(const Best *of, Kept *heap, float *rough)
{
    for (Py_ssize_t query = 0; query < of->queries; query++) {
        const int64_t *rows = of->rows + query * of->depth;
        for (Py_ssize_t place = 0; place < of->depth; place++) {
            if (rows[place] >= of->stored)
                return -1;
            if (rows[place] < 0)
                continue;
            FETCH(of->lengths + rows[place]);
            FETCH(of->codes + rows[place]);
            if (place < AHEAD)
                fetch(of->vectors + rows[place] * DIM);
        }
        Py_ssize_t count = 0;
        for (Py_ssize_t place = 0; place < of->depth; place++) {
            const int64_t row = rows[place];
            if (row < 0)
                continue;
            if (place + AHEAD < of->depth && rows[place + AHEAD] >= 0)
                fetch(of->vectors + rows[place + AHEAD] * DIM);
            rough[place] = rough_product(of->vectors + row * DIM, of->rounded + query * DIM) / (float)of->lengths[row];
            count = keep(heap, count, of->k, (Kept){rough[place], of->codes[row], row});
        }
        const double least = count == of->k ? heap[0].score - of->slack : -INFINITY;
        count = 0;
        for (Py_ssize_t place = 0; place < of->depth; place++) {
            const int64_t row = rows[place];
            if (row < 0 || rough[place] < least)
                continue;
            const double cosine = product(of->vectors + row * DIM, of->directions + query * DIM) / of->lengths[row];
            count = keep(heap, count, of->k, (Kept){(float)cosine, of->codes[row], row});
        }
        int64_t *found = of->found + query * of->k;
        float *scores = of->scores + query * of->k;
        order(heap, count);
        for (Py_ssize_t place = 0; place < of->k; place++) {
            found[place] = place < count ? heap[place].row : -1;
            scores[place] = place < count ? heap[place].score : 0;
        }
    }
    return 0;
}

/* The centres with the largest products, best first. Numbers are of 16 bits: those of the query, which is at unit length,
   in steps of 1 / UNIT, and no centre is longer than UNIT of its steps, so that no sum leaves 32 bits. */
FOR_EACH_PROCESSOR
static void cells_of(const float *asked, const int16_t *centres, int64_t *cells, Kept *heap, Py_ssize_t count,
                     Py_ssize_t wanted)
{
    int16_t steps[DIM];
    in_steps(asked, steps);
    Py_ssize_t kept = 0;
    for (Py_ssize_t cell = 0; cell < count; cell++) {
        const int16_t *centre = centres + cell * DIM;
        int32_t sum = 0;
        for (int place = 0; place < DIM; place++)
            sum += (int32_t)centre[place] * steps[place];
        kept = keep(heap, kept, wanted, (Kept){(float)sum, (int32_t)cell, cell});
    }
    order(heap, kept);
    for (Py_ssize_t place = 0; place < kept; place++)
        cells[place] = heap[place].row;
}

FOR_EACH_PROCESSOR
static int pairs_of(const double *directions, const int64_t *queries, const float *vectors, const int64_t *rows,
                    const double *lengths, float *scores, Py_ssize_t count, Py_ssize_t asked, Py_ssize_t stored)
{
    for (Py_ssize_t pair = 0; pair < count; pair++) {
        if (queries[pair] < 0 || queries[pair] >= asked || rows[pair] < 0 || rows[pair] >= stored)
            return -1;
        if (pair + AHEAD < count && rows[pair + AHEAD] >= 0 && rows[pair + AHEAD] < stored)
            fetch(vectors + rows[pair + AHEAD] * DIM);
        scores[pair] =
            (float)(product(vectors + rows[pair] * DIM, directions + queries[pair] * DIM) / lengths[pair]);
    }
    return 0;
}

/* Lengths of rows, 1 for a row of zeros. */
FOR_EACH_PROCESSOR
static void lengths_of(const float *vectors, double *lengths, Py_ssize_t count)
{
    for (Py_ssize_t row = 0; row < count; row++) {
        const float *from = vectors + row * DIM;
        SUMMED(square, from, from)
        lengths[row] = square == 0 ? 1 : sqrt(square);
    }
}

/* Directions, in both precisions; returns the first vector that has none, else -1. The vectors are doubles or floats. */
FOR_EACH_PROCESSOR
static Py_ssize_t unit_of(const double *doubles, const float *floats, double *unit, float *rounded, Py_ssize_t count)
{
    for (Py_ssize_t query = 0; query < count; query++) {
        double *to = unit + query * DIM;
        float *shorter = rounded + query * DIM;
        if (doubles)
            memcpy(to, doubles + query * DIM, DIM * sizeof(double));
        else
            for (int place = 0; place < DIM; place++)
                to[place] = floats[query * DIM + place];
        SUMMED(square, to, to)
        const double length = sqrt(square);
        /* What is not a number fails both comparisons. */
        if (!(length > 0 && length < INFINITY))
            return query;
        for (int place = 0; place < DIM; place++) {
            to[place] /= length;
            shorter[place] = (float)to[place];
        }
    }
    return -1;
}

/* ---- Python's side ---- */

static const Kind DOUBLES = {"d", 8, 0}, FLOATS = {"f", 4, 0}, EITHER = {"df", 0, 0};
static const Kind INTEGERS = {"lq", 8, 0}, CODES = {"il", 4, 0}, SHORTS = {"h", 2, 0};
static const Kind NEW_DOUBLES = {"d", 8, 1}, NEW_FLOATS = {"f", 4, 1}, NEW_INTEGERS = {"lq", 8, 1};

static PyObject *unit(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Py_ssize_t length, units, rounds;
    if (count != 3)
        return refused(&arrays, PyExc_TypeError, "unit takes 3 arrays: vectors, unit, rounded");
    const void *vectors = look_into(&arrays, given[0], &EITHER, &length);
    const int precise = vectors && arrays.held[0].itemsize == sizeof(double);
    double *unit = vectors ? look_into(&arrays, given[1], &NEW_DOUBLES, &units) : NULL;
    float *rounded = unit ? look_into(&arrays, given[2], &NEW_FLOATS, &rounds) : NULL;
    if (!rounded)
        return refused(&arrays, NULL, NULL);
    if (length % DIM || units != length || rounds != length)
        return refused(&arrays, PyExc_ValueError, "vectors, unit and rounded differ in shape");
    PyThreadState *state = length / DIM >= FEW_VECTORS ? PyEval_SaveThread() : NULL;
    const Py_ssize_t bad = unit_of(precise ? vectors : NULL, precise ? NULL : vectors, unit, rounded, length / DIM);
    if (state)
        PyEval_RestoreThread(state);
    let_go(&arrays);
    return PyLong_FromSsize_t(bad);
}

static PyObject *lengths(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Py_ssize_t numbers, rows;
    if (count != 2)
        return refused(&arrays, PyExc_TypeError, "lengths takes 2 arrays: vectors, lengths");
    const float *vectors = look_into(&arrays, given[0], &FLOATS, &numbers);
    double *found = vectors ? look_into(&arrays, given[1], &NEW_DOUBLES, &rows) : NULL;
    if (!found)
        return refused(&arrays, NULL, NULL);
    if (numbers % DIM || rows != numbers / DIM)
        return refused(&arrays, PyExc_ValueError, "vectors and lengths differ in length");
    PyThreadState *state = rows >= FEW_VECTORS ? PyEval_SaveThread() : NULL;
    lengths_of(vectors, found, rows);
    if (state)
        PyEval_RestoreThread(state);
    let_go(&arrays);
    Py_RETURN_NONE;
}

static PyObject *pairs(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Py_ssize_t asked, numbered, stored, proposed, measured, scored;
    if (count != 6)
        return refused(&arrays, PyExc_TypeError,
                       "pairs takes 6 arrays: directions, queries, vectors, rows, lengths, scores");
    const double *directions = look_into(&arrays, given[0], &DOUBLES, &asked);
    const int64_t *queries = directions ? look_into(&arrays, given[1], &INTEGERS, &numbered) : NULL;
    const float *vectors = queries ? look_into(&arrays, given[2], &FLOATS, &stored) : NULL;
    const int64_t *rows = vectors ? look_into(&arrays, given[3], &INTEGERS, &proposed) : NULL;
    const double *lengths = rows ? look_into(&arrays, given[4], &DOUBLES, &measured) : NULL;
    float *scores = lengths ? look_into(&arrays, given[5], &NEW_FLOATS, &scored) : NULL;
    if (!scores)
        return refused(&arrays, NULL, NULL);
    if (asked % DIM || stored % DIM || numbered != proposed || measured != proposed || scored != proposed)
        return refused(&arrays, PyExc_ValueError, "the arrays of pairs differ in length");
    PyThreadState *state = proposed >= FEW ? PyEval_SaveThread() : NULL;
    const int wrong =
        pairs_of(directions, queries, vectors, rows, lengths, scores, proposed, asked / DIM, stored / DIM);
    if (state)
        PyEval_RestoreThread(state);
    if (wrong)
        return refused(&arrays, PyExc_IndexError, "a pair is of a query or a row that is not there");
    let_go(&arrays);
    Py_RETURN_NONE;
}

static PyObject *best(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Py_ssize_t asked, roughly, stored, measured, coded, proposed, found, scored;
    if (count != 10)
        return refused(&arrays, PyExc_TypeError,
                       "best takes 8 arrays (directions, rounded, vectors, lengths, codes, rows, found, scores)"
                       " and 2 numbers (k, slack)");
    Best of;
    of.directions = look_into(&arrays, given[0], &DOUBLES, &asked);
    of.rounded = of.directions ? look_into(&arrays, given[1], &FLOATS, &roughly) : NULL;
    of.vectors = of.rounded ? look_into(&arrays, given[2], &FLOATS, &stored) : NULL;
    of.lengths = of.vectors ? look_into(&arrays, given[3], &DOUBLES, &measured) : NULL;
    of.codes = of.lengths ? look_into(&arrays, given[4], &CODES, &coded) : NULL;
    of.rows = of.codes ? look_into(&arrays, given[5], &INTEGERS, &proposed) : NULL;
    of.found = of.rows ? look_into(&arrays, given[6], &NEW_INTEGERS, &found) : NULL;
    of.scores = of.found ? look_into(&arrays, given[7], &NEW_FLOATS, &scored) : NULL;
    if (!of.scores)
        return refused(&arrays, NULL, NULL);
    of.k = PyNumber_AsSsize_t(given[8], PyExc_OverflowError);
    of.slack = PyFloat_AsDouble(given[9]);
    if (PyErr_Occurred())
        return refused(&arrays, NULL, NULL);
    of.queries = asked / DIM;
    of.stored = stored / DIM;
    of.depth = of.queries ? proposed / of.queries : 0;
    if (asked % DIM || roughly != asked || stored % DIM || measured < of.stored || coded < of.stored || of.k < 1 ||
        proposed != of.depth * of.queries || found / of.k != of.queries || found % of.k || scored != found)
        return refused(&arrays, PyExc_ValueError, "the arrays of best differ in length");
    if (!of.queries) {
        let_go(&arrays);
        Py_RETURN_NONE;
    }
    /* There are as many places for answers, so that this is no larger than what is there already. */
    Kept *heap = malloc((size_t)of.k * sizeof(Kept) + (size_t)of.depth * sizeof(float));
    if (!heap) {
        let_go(&arrays);
        return PyErr_NoMemory();
    }
    PyThreadState *state = proposed >= FEW ? PyEval_SaveThread() : NULL;
    const int wrong = best_of(&of, heap, (float *)(heap + of.k));
    if (state)
        PyEval_RestoreThread(state);
    free(heap);
    if (wrong)
        return refused(&arrays, PyExc_IndexError, "a row is proposed that is not there");
    let_go(&arrays);
    Py_RETURN_NONE;
}

static PyObject *cells(PyObject *self, PyObject *const *given, Py_ssize_t count)
{
    Arrays arrays = {.count = 0};
    Py_ssize_t asked, numbers, wanted;
    if (count != 3)
        return refused(&arrays, PyExc_TypeError, "cells takes 3 arrays: query, centres, cells");
    const float *query = look_into(&arrays, given[0], &FLOATS, &asked);
    const int16_t *centres = query ? look_into(&arrays, given[1], &SHORTS, &numbers) : NULL;
    int64_t *found = centres ? look_into(&arrays, given[2], &NEW_INTEGERS, &wanted) : NULL;
    if (!found)
        return refused(&arrays, NULL, NULL);
    if (asked != DIM || numbers % DIM || wanted < 1 || wanted > numbers / DIM)
        return refused(&arrays, PyExc_ValueError, "not one query, or more cells are wanted than there are");
    Kept *heap = malloc((size_t)wanted * sizeof(Kept));
    if (!heap) {
        let_go(&arrays);
        return PyErr_NoMemory();
    }
    cells_of(query, centres, found, heap, numbers / DIM, wanted);
    free(heap);
    let_go(&arrays);
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"unit", (PyCFunction)(void (*)(void))unit, METH_FASTCALL,
     "unit(vectors, unit, rounded): the first vector without a direction, else -1"},
    {"lengths", (PyCFunction)(void (*)(void))lengths, METH_FASTCALL, "lengths(vectors, lengths)"},
    {"pairs", (PyCFunction)(void (*)(void))pairs, METH_FASTCALL,
     "pairs(directions, queries, vectors, rows, lengths, scores)"},
    {"cells", (PyCFunction)(void (*)(void))cells, METH_FASTCALL, "cells(query, centres, cells)"},
    {"best", (PyCFunction)(void (*)(void))best, METH_FASTCALL,
     "best(directions, rounded, vectors, lengths, codes, rows, found, scores, k, slack)"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "molsig.index._cosines", "Compiled parts of molsig.index.cosines.", -1, METHODS,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__cosines(void)
{
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddIntConstant(module, "VERSION", VERSION) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
