/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of codes of SAM-5, SPC-4 and SBC-3 that a disk meets. Everything in these standards is
 * big-endian and bit-packed: the commands encode their own data.
 */
#ifndef SPEC_SCSI_H
#define SPEC_SCSI_H

/* SAM-5 5.3.1: status */
#define SCSI_STATUS_GOOD                 0x00
#define SCSI_STATUS_CHECK_CONDITION      0x02
#define SCSI_STATUS_BUSY                 0x08
#define SCSI_STATUS_RESERVATION_CONFLICT 0x18
#define SCSI_STATUS_TASK_SET_FULL        0x28

/* SPC-4 and SBC-3: operation codes */
#define SCSI_TEST_UNIT_READY      0x00
#define SCSI_REQUEST_SENSE        0x03
#define SCSI_FORMAT_UNIT          0x04
#define SCSI_READ_6               0x08
#define SCSI_WRITE_6              0x0a
#define SCSI_INQUIRY              0x12
#define SCSI_MODE_SELECT_6        0x15
#define SCSI_RESERVE_6            0x16
#define SCSI_RELEASE_6            0x17
#define SCSI_MODE_SENSE_6         0x1a
#define SCSI_START_STOP_UNIT      0x1b
#define SCSI_RECEIVE_DIAGNOSTIC   0x1c
#define SCSI_SEND_DIAGNOSTIC      0x1d
#define SCSI_PREVENT_ALLOW        0x1e
#define SCSI_READ_CAPACITY_10     0x25
#define SCSI_READ_10              0x28
#define SCSI_WRITE_10             0x2a
#define SCSI_WRITE_AND_VERIFY_10  0x2e
#define SCSI_VERIFY_10            0x2f
#define SCSI_PRE_FETCH_10         0x34
#define SCSI_SYNCHRONIZE_CACHE_10 0x35
#define SCSI_READ_DEFECT_DATA_10  0x37
#define SCSI_WRITE_BUFFER         0x3b
#define SCSI_READ_BUFFER          0x3c
#define SCSI_WRITE_SAME_10        0x41
#define SCSI_UNMAP                0x42
#define SCSI_SANITIZE             0x48
#define SCSI_LOG_SELECT           0x4c
#define SCSI_LOG_SENSE            0x4d
#define SCSI_MODE_SELECT_10       0x55
#define SCSI_RESERVE_10           0x56
#define SCSI_RELEASE_10           0x57
#define SCSI_MODE_SENSE_10        0x5a
#define SCSI_PERSISTENT_IN        0x5e
#define SCSI_PERSISTENT_OUT       0x5f
#define SCSI_VARIABLE_LENGTH      0x7f
#define SCSI_EXTENDED_COPY        0x83
#define SCSI_RECEIVE_COPY_RESULTS 0x84
#define SCSI_READ_16              0x88
#define SCSI_COMPARE_AND_WRITE    0x89
#define SCSI_WRITE_16             0x8a
#define SCSI_ORWRITE_16           0x8b
#define SCSI_WRITE_AND_VERIFY_16  0x8e
#define SCSI_VERIFY_16            0x8f
#define SCSI_PRE_FETCH_16         0x90
#define SCSI_SYNCHRONIZE_CACHE_16 0x91
#define SCSI_WRITE_SAME_16        0x93
#define SCSI_WRITE_ATOMIC_16      0x9c
#define SCSI_SERVICE_ACTION_IN_16 0x9e
#define SCSI_REPORT_LUNS          0xa0
#define SCSI_MAINTENANCE_IN       0xa3
#define SCSI_MAINTENANCE_OUT      0xa4
#define SCSI_READ_12              0xa8
#define SCSI_WRITE_12             0xaa
#define SCSI_WRITE_AND_VERIFY_12  0xae
#define SCSI_VERIFY_12            0xaf
#define SCSI_READ_DEFECT_DATA_12  0xb7

#define SCSI_SA_READ_CAPACITY_16           0x10 /* of SERVICE ACTION IN (16) */
#define SCSI_SA_GET_LBA_STATUS_16          0x12
#define SCSI_SA_REPORT_SUPPORTED_OPCODES   0x0c /* of MAINTENANCE IN */
#define SCSI_SA_REPORT_SUPPORTED_TMF       0x0d
#define SCSI_SA_REPORT_IDENTIFYING         0x05 /* information */
#define SCSI_SA_REPORT_TARGET_PORT_GROUPS  0x0a
#define SCSI_SA_REPORT_TIMESTAMP           0x0f
#define SCSI_SA_SET_IDENTIFYING            0x06 /* of MAINTENANCE OUT */
#define SCSI_SA_SET_TARGET_PORT_GROUPS     0x0a
#define SCSI_SA_SET_TIMESTAMP              0x0f
#define SCSI_SA_SANITIZE_OVERWRITE         0x01 /* of SANITIZE */
#define SCSI_SA_SANITIZE_BLOCK_ERASE       0x02
#define SCSI_SA_SANITIZE_EXIT_FAILURE_MODE 0x1f
#define SCSI_SA_READ_32                    0x0009 /* of VARIABLE LENGTH */
#define SCSI_SA_VERIFY_32                  0x000a
#define SCSI_SA_WRITE_32                   0x000b
#define SCSI_SA_WRITE_AND_VERIFY_32        0x000c
#define SCSI_SA_WRITE_SAME_32              0x000d
#define SCSI_SA_ORWRITE_32                 0x000e
#define SCSI_SA_GET_LBA_STATUS_32          0x0012

#define SCSI_SA_EXTENDED_COPY_LID1     0x00 /* of EXTENDED COPY */
#define SCSI_SA_COPY_STATUS            0x00 /* of RECEIVE COPY RESULTS */
#define SCSI_SA_OPERATING_PARAMETERS   0x03
#define SCSI_SA_FAILED_SEGMENT_DETAILS 0x04

#define SCSI_SA_READ_KEYS           0x00 /* of PERSISTENT RESERVE IN */
#define SCSI_SA_READ_RESERVATION    0x01
#define SCSI_SA_REPORT_CAPABILITIES 0x02
#define SCSI_SA_READ_FULL_STATUS    0x03

#define SCSI_SA_REGISTER            0x00 /* of PERSISTENT RESERVE OUT */
#define SCSI_SA_RESERVE             0x01
#define SCSI_SA_RELEASE             0x02
#define SCSI_SA_CLEAR               0x03
#define SCSI_SA_PREEMPT             0x04
#define SCSI_SA_PREEMPT_AND_ABORT   0x05
#define SCSI_SA_REGISTER_AND_IGNORE 0x06
#define SCSI_SA_REGISTER_AND_MOVE   0x07

/* SPC-4 6.15.3.4: types of persistent reservations; the scope is always the logical unit, 0 */
#define SCSI_WRITE_EXCLUSIVE                  0x1
#define SCSI_EXCLUSIVE_ACCESS                 0x3
#define SCSI_WRITE_EXCLUSIVE_REGISTRANTS      0x5
#define SCSI_EXCLUSIVE_ACCESS_REGISTRANTS     0x6
#define SCSI_WRITE_EXCLUSIVE_ALL_REGISTRANTS  0x7
#define SCSI_EXCLUSIVE_ACCESS_ALL_REGISTRANTS 0x8

/* SPC-4 7.6.4.6: TransportID for initiator ports of SCSI over SAS */
#define SCSI_TRANSPORT_SAS      0x06
#define SCSI_TRANSPORT_ID_BYTES 24

/* SPC-4 4.5.6: sense keys */
#define SCSI_KEY_NO_SENSE        0x0
#define SCSI_KEY_NOT_READY       0x2
#define SCSI_KEY_MEDIUM_ERROR    0x3
#define SCSI_KEY_HARDWARE_ERROR  0x4
#define SCSI_KEY_ILLEGAL_REQUEST 0x5
#define SCSI_KEY_UNIT_ATTENTION  0x6
#define SCSI_KEY_DATA_PROTECT    0x7
#define SCSI_KEY_COPY_ABORTED    0xa
#define SCSI_KEY_ABORTED_COMMAND 0xb
#define SCSI_KEY_MISCOMPARE      0xe

/* SPC-4 annex F.2: additional sense code and qualifier, 0xAAQQ */
#define SCSI_ASC_NONE                        0x0000
#define SCSI_ASC_OPERATION_IN_PROGRESS       0x0016
#define SCSI_ASC_BECOMING_READY              0x0401
#define SCSI_ASC_START_REQUIRED              0x0402 /* initializing command required */
#define SCSI_ASC_FORMAT_IN_PROGRESS          0x0404
#define SCSI_ASC_PORT_STANDBY                0x040b
#define SCSI_ASC_PORT_UNAVAILABLE            0x040c
#define SCSI_ASC_SANITIZE_IN_PROGRESS        0x041b
#define SCSI_ASC_UNREACHABLE_COPY_TARGET     0x0804
#define SCSI_ASC_WRITE_ERROR                 0x0c00
#define SCSI_ASC_THIRD_PARTY_FAILURE         0x0d01 /* of a device of a copy */
#define SCSI_ASC_COPY_TARGET_NOT_REACHABLE   0x0d02
#define SCSI_ASC_INCORRECT_COPY_TARGET_TYPE  0x0d03
#define SCSI_ASC_UNRECOVERED_READ_ERROR      0x1100
#define SCSI_ASC_PARAMETER_LIST_LENGTH       0x1a00
#define SCSI_ASC_MISCOMPARE                  0x1d00
#define SCSI_ASC_INVALID_OPCODE              0x2000
#define SCSI_ASC_LBA_OUT_OF_RANGE            0x2100
#define SCSI_ASC_INVALID_FIELD_IN_CDB        0x2400
#define SCSI_ASC_LUN_NOT_SUPPORTED           0x2500
#define SCSI_ASC_INVALID_FIELD_IN_PARAMETERS 0x2600
#define SCSI_ASC_INVALID_RELEASE             0x2604 /* of a persistent reservation */
#define SCSI_ASC_TOO_MANY_TARGETS            0x2606 /* descriptors */
#define SCSI_ASC_UNSUPPORTED_TARGET_TYPE     0x2607
#define SCSI_ASC_TOO_MANY_SEGMENTS           0x2608
#define SCSI_ASC_UNSUPPORTED_SEGMENT_TYPE    0x2609
#define SCSI_ASC_INEXACT_SEGMENT             0x260a
#define SCSI_ASC_INLINE_DATA_EXCEEDED        0x260b
#define SCSI_ASC_WRITE_PROTECTED             0x2700
#define SCSI_ASC_SOFTWARE_WRITE_PROTECTED    0x2702
#define SCSI_ASC_SPACE_ALLOCATION_FAILED     0x2707
#define SCSI_ASC_MEDIUM_CHANGED              0x2800 /* not ready to ready change */
#define SCSI_ASC_POWER_ON                    0x2900
#define SCSI_ASC_DEVICE_RESET                0x2903
#define SCSI_ASC_I_T_NEXUS_LOSS              0x2907
#define SCSI_ASC_MODE_PARAMETERS_CHANGED     0x2a01
#define SCSI_ASC_RESERVATIONS_PREEMPTED      0x2a03
#define SCSI_ASC_RESERVATIONS_RELEASED       0x2a04
#define SCSI_ASC_REGISTRATIONS_PREEMPTED     0x2a05
#define SCSI_ASC_ACCESS_STATE_CHANGED        0x2a06 /* asymmetric */
#define SCSI_ASC_CAPACITY_CHANGED            0x2a09
#define SCSI_ASC_TIMESTAMP_CHANGED           0x2a10
#define SCSI_ASC_COMMAND_SEQUENCE_ERROR      0x2c00
#define SCSI_ASC_ORWRITE_GENERATION          0x2c0c /* does not match */
#define SCSI_ASC_COMMANDS_CLEARED            0x2f00 /* by another initiator */
#define SCSI_ASC_FORMAT_FAILED               0x3101
#define SCSI_ASC_SANITIZE_FAILED             0x3103
#define SCSI_ASC_SOFT_THRESHOLD              0x3807 /* thin provisioning, reached */
#define SCSI_ASC_SAVING_NOT_SUPPORTED        0x3900
#define SCSI_ASC_MEDIUM_NOT_PRESENT          0x3a00
#define SCSI_ASC_IDENTIFIER_CHANGED          0x3f05
#define SCSI_ASC_REPORTED_LUNS_CHANGED       0x3f0e
#define SCSI_ASC_INTERNAL_TARGET_FAILURE     0x4400
#define SCSI_ASC_REMOVAL_PREVENTED           0x5302
#define SCSI_ASC_REGISTRATION_RESOURCES      0x5504 /* insufficient */
#define SCSI_ASC_IDLE_BY_COMMAND             0x5e03
#define SCSI_ASC_STANDBY_BY_COMMAND          0x5e04
#define SCSI_ASC_IDLE_B_BY_COMMAND           0x5e06
#define SCSI_ASC_IDLE_C_BY_COMMAND           0x5e08
#define SCSI_ASC_STANDBY_Y_BY_COMMAND        0x5e0a

/* SPC-4 6.4.5, 6.4.6: descriptors of EXTENDED COPY */
#define SCSI_CSCD_IDENTIFICATION 0xe4
#define SCSI_SEGMENT_BLOCK_BLOCK 0x02
#define SCSI_CSCD_SELF           0xffff /* in place of an index: the addressed unit */

/* SPC-4 6.6.2: peripheral qualifier and device type of INQUIRY's first byte */
#define SCSI_PERIPHERAL_DISK       0x00
#define SCSI_PERIPHERAL_WELL_KNOWN 0x1e
#define SCSI_PERIPHERAL_ABSENT     0x7f

/* SPC-4 7.8, SBC-3 6.5: vital product data pages */
#define SCSI_VPD_SUPPORTED_PAGES            0x00
#define SCSI_VPD_UNIT_SERIAL_NUMBER         0x80
#define SCSI_VPD_DEVICE_IDENTIFICATION      0x83
#define SCSI_VPD_MANAGEMENT_ADDRESSES       0x85
#define SCSI_VPD_EXTENDED_INQUIRY           0x86
#define SCSI_VPD_MODE_PAGE_POLICY           0x87
#define SCSI_VPD_THIRD_PARTY_COPY           0x8f
#define SCSI_VPD_BLOCK_LIMITS               0xb0
#define SCSI_VPD_BLOCK_CHARACTERISTICS      0xb1
#define SCSI_VPD_LOGICAL_BLOCK_PROVISIONING 0xb2

/* SPC-4 7.5, SBC-3 6.4: mode pages */
#define SCSI_MODE_ERROR_RECOVERY           0x01
#define SCSI_MODE_DISCONNECT_RECONNECT     0x02
#define SCSI_MODE_CACHING                  0x08
#define SCSI_MODE_CONTROL                  0x0a
#define SCSI_MODE_POWER_CONDITION          0x1a
#define SCSI_MODE_INFORMATIONAL_EXCEPTIONS 0x1c
#define SCSI_MODE_ALL                      0x3f

/* SBC-4 6.5: subpage of 1Ch, and where its first threshold descriptor begins */
#define SCSI_MODE_SUB_PROVISIONING     0x02
#define SCSI_MODE_THRESHOLD_BYTE       16
#define SCSI_THRESHOLD_ENABLED         0x80
#define SCSI_THRESHOLD_PERCENT         0x08 /* its count is one; armed decreasing is 0 */
#define SCSI_THRESHOLD_OF_PROVISIONING 0x03 /* available provisioning resource percentage */

/* SPC-4 7.3, SBC-3 6.3: log pages */
#define SCSI_LOG_SUPPORTED_PAGES          0x00
#define SCSI_LOG_PROVISIONING             0x0c /* SBC-4 6.4.5 */
#define SCSI_LOG_TEMPERATURE              0x0d
#define SCSI_LOG_INFORMATIONAL_EXCEPTIONS 0x2f

/* SAM-5 4.7: LUNs. A controller's targets have up to 16,384 of them (flat space). */
#define SCSI_LUNS_MAX               16384
#define SCSI_LUN_FLAT               0x4000 /* addressing method 01 in the first two bytes */
#define SCSI_WELL_KNOWN_REPORT_LUNS 0xc101

#endif
