//! Published code, changed by a scripted model.
