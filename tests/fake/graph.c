/*
 * graph.c - graphs that allocate and free. What a graph does it does at once, and not when it is launched: its
 * nodes are here for the addresses that they hand out, which are freed as any other of a stream's.
 */
#include "tests/fake/driver.h"

static uintptr_t last_graph;
static uintptr_t last_node;

CUresult graph_create(CUgraph *graph, unsigned flags) {
    *graph = (CUgraph)++last_graph;
    return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult graph_destroy(CUgraph graph) {
    return graph != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult graph_allocate(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies,
                        size_t count, CUDA_MEM_ALLOC_NODE_PARAMS *parameters) {
    (void)dependencies;
    (void)count;
    CUresult result = graph != NULL ? mem_alloc_async(&parameters->dptr, parameters->bytesize, NULL)
                                    : CUDA_ERROR_INVALID_VALUE;
    *node = (CUgraphNode)++last_node;
    return result;
}

CUresult graph_free(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                    CUdeviceptr address) {
    (void)dependencies;
    (void)count;
    *node = (CUgraphNode)++last_node;
    return graph != NULL ? mem_free_async(address, NULL) : CUDA_ERROR_INVALID_VALUE;
}
