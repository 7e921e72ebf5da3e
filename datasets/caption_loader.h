#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "datasets/captions.h"
#include "datasets/image_transform.h"
#include "datasets/loader.h"
#include "datasets/picture_store.h"

namespace attune {

struct CaptionLoaderOptions {
  /// Examples are pictures with captions; max_tokens counts one caption of each.
  LoaderOptions loader = {};
  ImageAugmentation augmentation = {};
  ImageNormalisation normalisation = {};
  /// Most captions of a picture that share an example, so that the picture is read by the encoder once for all of them.
  /// With 1 every caption has its picture to itself, changed in a way of its own.
  int64_t captions_per_picture = 1;
  /// Threads that make the pictures of a batch.
  int threads = 1;
};

/// One batch: P pictures, B captions about them, the longest of T tokens with <eos>. The captions are as PairBatch has
/// its targets.
struct CaptionBatch {
  Tensor pictures;                ///< float32 [P, H, W, 3]
  Tensor picture_of;              ///< int64 [B]: row of `pictures` that a caption is about; 0, 1, ... when B = P
  Tensor target_in;               ///< int64 [B, T]: begins with <bos>
  Tensor target_out;              ///< int64 [B, T]: one step later, ends with <eos>
  Tensor target_lengths;          ///< int64 [B]
  std::vector<int64_t> examples;  ///< number of each row's caption in the data
  int64_t target_tokens = 0;      ///< tokens of target_out that are not padding
};

/// Batches of pictures and their captions, epoch after epoch; all that Loader says holds here too. How a picture is
/// changed is a function of seed, epoch and caption, whichever thread does it.
class CaptionLoader {
 public:
  /// Captions of unreadable pictures are left out. Throws ValueError for unusable options, captions of pictures that
  /// the store does not have, and when no captions are left.
  CaptionLoader(EncodedCaptions captions, std::shared_ptr<const PictureStore> pictures,
                const CaptionLoaderOptions& options);
  ~CaptionLoader();
  CaptionLoader(CaptionLoader&&) noexcept;
  CaptionLoader& operator=(CaptionLoader&&) noexcept;

  /// The same number in every epoch.
  int64_t batches_per_epoch() const;
  const EncodedCaptions& data() const;
  /// Captions left out: their pictures are unreadable.
  int64_t left_out() const;

  /// The next batch, valid until the next call; null once at the end of each epoch. Throws FormatError for a picture
  /// that is not kept in memory and turns out to be damaged.
  const CaptionBatch* next();

  /// Time spent in next() so far, waiting for pictures.
  double seconds_waited() const;

  DataPosition position() const;
  /// Goes on from a saved position. Throws ValueError when it belongs to other data, options or another seed.
  void seek(const DataPosition& position);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace attune
