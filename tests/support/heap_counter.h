#pragma once

#include <cstdint>

namespace attune::testing {

/// Calls of operator new so far, by all threads: the test program's own operator new counts them. Always 0
/// where a sanitizer is in use.
uint64_t heap_allocations();

/// A sanitizer of addresses or of threads is in use.
bool sanitized();

}  // namespace attune::testing
