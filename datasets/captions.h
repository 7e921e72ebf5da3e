#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "datasets/encode_pairs.h"
#include "datasets/sequences.h"
#include "datasets/text_codec.h"
#include "datasets/text_reader.h"

namespace attune {

/// A picture and what people say of it.
struct CaptionedPicture {
  std::string name;  ///< of its file in the folder of pictures
  std::vector<std::string> captions;

  bool operator==(const CaptionedPicture&) const = default;
};

/// How often something was met, and where first.
struct Findings {
  static constexpr size_t kNamed = 3;

  int64_t count = 0;
  std::vector<std::string> first;  ///< at most kNamed

  void add(std::string_view where);
  /// "5 (a.jpg, b.jpg, c.jpg, ...)"
  std::string to_string() const;
};

/// What was met while reading.
struct CaptionReport {
  std::string format;         ///< "image<TAB>caption", "COCO JSON" ...
  Findings missing_pictures;  ///< captions left out: images/ has no such file. By picture
  Findings uncaptioned;       ///< pictures left out: nothing is said of them
  Findings unknown_in_split;  ///< names of the split list that images/ does not have; left out
  Findings repeated_in_split;
  Findings duplicates;  ///< captions that the same picture has already; kept
  Findings empty;       ///< captions left out: nothing but space. By line

  /// The findings that there are: "; 2 pictures without captions left out (a.jpg, b.jpg); ..."
  std::string to_string() const;
};

struct CaptionData {
  std::string folder;
  std::string images = "images";           ///< the folder in it that has the pictures
  std::vector<CaptionedPicture> pictures;  ///< in the order of the split list; without one in that of the captions
  CaptionReport report;

  int64_t caption_count() const;
  /// Of the picture files, by number.
  std::vector<std::string> paths() const;
  /// "6000 pictures with 30000 captions from data/captions.tsv (image<TAB>caption)" and what was found.
  std::string to_string() const;

  std::string captions_path;
};

struct CaptionReadOptions {
  /// "train": the pictures that the file of captions says to be in it or, where it does not say so, that a list names,
  /// DIR/train.txt or DIR/Flickr_8k.trainImages.txt, a name a line. "": all.
  std::string split = "";
  /// File of the captions. "": the one that DIR has of SPLIT.json and captions_SPLIT.json, which hold one split and
  /// need no list; else, for a split, of dataset.json, dataset_flickr8k.json, dataset_flickr30k.json and
  /// dataset_coco.json; else of captions.tsv, captions.txt, captions.csv, captions.json, results.csv,
  /// Flickr8k.token.txt and these.
  std::string captions = "";
  TextReaderOptions text = {};
};

/// Reads the captions of the pictures in DIR/images (or Images, Flicker8k_Dataset, Flickr8k_Dataset, flickr30k_images,
/// flickr30k-images: the first that is there). What a file of captions holds is seen from its content, plain or
/// gzipped:
/// - lines `image<TAB>caption`, or `image#n<TAB>caption` as Flickr8k has them (Hodosh et al., 2013);
/// - a table with the header `image,caption` or `image,comment_number,comment`, as of Kaggle: comma-separated values, a
///   field with quotation marks in it in quotes and these doubled; or `image_name| comment_number| comment`, as
///   Flickr30k has it;
/// - COCO's JSON (Chen et al., "Microsoft COCO Captions", 2015): {"images": [{"id", "file_name"}], "annotations":
///   [{"image_id", "caption"}]};
/// - the JSON of the splits of Karpathy and Fei-Fei (CVPR 2015), dataset_flickr8k.json and its like: {"images":
///   [{"filename", "split", "sentences": [{"raw"}]}]}; "dev" is what is called "val" there.
/// In tables and JSON, runs of space in captions become one.
///
/// Throws IoError and FormatError (see TextReader); besides, IoError for a folder without images/, no or several files
/// of captions, and no list for the split, naming what is there; FormatError for a line without exactly one tab or
/// without an image, a row of a table with too few columns, JSON that is damaged or has other members, by place, two
/// pictures of one id, a picture in two splits, and when no picture with a caption is left.
CaptionData read_captions(const std::string& folder, const CaptionReadOptions& options = {});

/// Captions as token numbers, <bos> ... <eos> each, those of a picture one after the other.
struct EncodedCaptions {
  Sequences captions;
  std::vector<int64_t> pictures;  ///< number of each caption's picture in the data
  std::vector<int64_t> numbers;   ///< number of each caption among its picture's
  int64_t overlong = 0;           ///< captions left out or cut
  int64_t unknown = 0;            ///< tokens that the codec does not know

  /// "30000 captions with 412314 tokens (120 unknown), 3 overlong"
  std::string to_string() const;
};

/// max_length: of a caption with <eos>. Throws FormatError, naming picture and caption, for one that is too long when
/// that is an error, and for no captions left; ValueError for a limit below 2.
EncodedCaptions encode_captions(const std::vector<CaptionedPicture>& pictures, const TextCodec& codec,
                                const PairEncodeOptions& options = {});

}  // namespace attune
