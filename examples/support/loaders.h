#pragma once

#include "datasets/loader.h"

namespace attune::examples {

/// A loader that was left in the middle of an epoch, by an interrupt, begins it again.
template <class Loader>
void rewind(Loader& loader) {
  DataPosition position = loader.position();
  if (position.batch == 0) return;
  position.batch = 0;
  loader.seek(position);
}

/// The next batch of a loader whose epochs end by a null pointer.
template <class Loader>
const auto& next_batch(Loader& loader) {
  const auto* batch = loader.next();
  if (batch == nullptr) batch = loader.next();  // the next epoch
  return *batch;
}

}  // namespace attune::examples
