#include "datasets/sequences.h"

#include "datasets/hash.h"

namespace attune {

std::vector<int64_t> Sequences::lengths() const {
  std::vector<int64_t> lengths(static_cast<size_t>(size()));
  for (int64_t i = 0; i < size(); ++i) lengths[at(i)] = length(i);
  return lengths;
}

void Sequences::add(std::span<const int64_t> tokens) {
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  begins_.push_back(static_cast<int64_t>(tokens_.size()));
}

void Sequences::clear() {
  tokens_.clear();
  begins_.resize(1);
}

uint64_t Sequences::fingerprint(uint64_t seed) const {
  const uint64_t hash = stable_hash(std::as_bytes(std::span(tokens_)), seed);
  return stable_hash(std::as_bytes(std::span(begins_)), hash);
}

void LabelledSequences::add(std::span<const int64_t> tokens, int64_t label) {
  sequences_.add(tokens);
  labels_.push_back(label);
}

uint64_t LabelledSequences::fingerprint() const {
  return stable_hash(std::as_bytes(std::span(labels_)), sequences_.fingerprint());
}

}  // namespace attune
