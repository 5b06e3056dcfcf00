# SPDX-License-Identifier: Apache-2.0
"""Gradients to updates. (Filled in as the files arrive.)"""
