/* SPDX-License-Identifier: MIT */
#ifndef RINGLET_BASE_VERSION_H
#define RINGLET_BASE_VERSION_H

#define RINGLET_VERSION "0.1.0"

#endif
